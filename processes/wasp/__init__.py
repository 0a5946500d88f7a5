"""Monthly cloud-free syntheses after WASP (Hagolle et al. 2018); see README.md."""

from processes.wasp.chain import CHAIN
from processes.wasp.process import wasp_synthesis
from processes.wasp.state import SynthesisState

__all__ = ["CHAIN", "SynthesisState", "wasp_synthesis"]
