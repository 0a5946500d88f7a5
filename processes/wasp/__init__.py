"""Monthly cloud-free syntheses after WASP (Hagolle et al. 2018); see README.md."""

from processes.wasp.chain import CHAIN
from processes.wasp.continued import continue_synthesis
from processes.wasp.process import wasp_synthesis
from processes.wasp.state import SynthesisState
from processes.wasp.state_file import load_state, save_state

__all__ = ["CHAIN", "SynthesisState", "continue_synthesis", "load_state", "save_state", "wasp_synthesis"]
