"""Words for processes on numbers, booleans, texts, dates and arrays."""

_NODATA = " Nodata in, nodata out."
_RADIANS = " Angles are in radians."

VALUES: dict[str, tuple[str, str, str]] = {
    # math
    "absolute": ("Magnitude of a number", "Drops the sign of `x`." + _NODATA, "The number without its sign."),
    "add": ("Sum of two numbers", "Computes `x + y`; nodata if either operand is nodata.", "The sum."),
    "subtract": (
        "Difference of two numbers",
        "Computes `x - y`; nodata if either operand is nodata.",
        "The difference.",
    ),
    "multiply": ("Product of two numbers", "Computes `x * y`; nodata if either operand is nodata.", "The product."),
    "divide": (
        "Quotient of two numbers",
        "Computes `x / y` after IEEE 754: a non-zero number over zero is infinite and 0 / 0 is NaN. Nodata if either "
        "operand is nodata.",
        "The quotient.",
    ),
    "mod": (
        "Remainder of a division",
        "Remainder of `x / y`, with the sign of the divisor `y`. Nodata if either operand is nodata.",
        "The remainder.",
    ),
    "power": ("Raise to a power", "Computes `base` to the power of `p`; nodata if either is nodata.", "The power."),
    "sqrt": ("Square root", "The non-negative root of `x`; NaN for negative numbers." + _NODATA, "The root."),
    "exp": (
        "Power of e",
        "Computes Euler's number to the power of `p`." + _NODATA,
        "The value of e to the power of `p`.",
    ),
    "ln": (
        "Logarithm to base e",
        "Natural logarithm of `x`; minus infinity at zero, NaN below." + _NODATA,
        "The logarithm.",
    ),
    "log": (
        "Logarithm to any base",
        "Logarithm of `x` to the given base; minus infinity at zero, NaN below. Nodata if either is nodata.",
        "The logarithm.",
    ),
    "sgn": (
        "Sign of a number",
        "-1 for negative, 1 for positive numbers, 0 for zero; NaN stays NaN." + _NODATA,
        "The sign.",
    ),
    "clip": (
        "Force a number into a range",
        "Numbers below `min` become `min`, numbers above `max` become `max`." + _NODATA,
        "The number, within the range.",
    ),
    "linear_scale_range": (
        "Map one range of numbers to another",
        "Clips `x` to the input range, then maps it linearly so that `inputMin` becomes `outputMin` and `inputMax` "
        "becomes `outputMax`." + _NODATA,
        "The scaled number.",
    ),
    "normalized_difference": (
        "Difference over sum",
        "Computes `(x - y) / (x + y)`, the form shared by NDVI, NDWI, NDSI and many other indices.",
        "The normalised difference.",
    ),
    # rounding
    "ceil": ("Next integer up", "The least integer that is not below `x`." + _NODATA, "The integer."),
    "floor": ("Next integer down", "The greatest integer that is not above `x`." + _NODATA, "The integer."),
    "int": (
        "Drop the fraction",
        "Keeps the integer part of `x`, that is, rounds towards zero." + _NODATA,
        "The integer part.",
    ),
    "round": (
        "Round to decimal places",
        "Rounds to `p` places after the point, or, for negative `p`, to tens, hundreds and so on. A value exactly half-way "
        "goes to the even neighbour (IEEE 754)." + _NODATA,
        "The rounded number.",
    ),
    # trigonometry
    "sin": ("Sine", "Sine of `x`." + _RADIANS + _NODATA, "The sine."),
    "cos": ("Cosine", "Cosine of `x`." + _RADIANS + _NODATA, "The cosine."),
    "tan": ("Tangent", "Tangent of `x`." + _RADIANS + _NODATA, "The tangent."),
    "sinh": ("Hyperbolic sine", "Hyperbolic sine of `x`." + _NODATA, "The hyperbolic sine."),
    "cosh": ("Hyperbolic cosine", "Hyperbolic cosine of `x`." + _NODATA, "The hyperbolic cosine."),
    "tanh": ("Hyperbolic tangent", "Hyperbolic tangent of `x`." + _NODATA, "The hyperbolic tangent."),
    "arcsin": ("Inverse sine", "Angle whose sine is `x`; NaN outside [-1, 1]." + _RADIANS + _NODATA, "The angle."),
    "arccos": ("Inverse cosine", "Angle whose cosine is `x`; NaN outside [-1, 1]." + _RADIANS + _NODATA, "The angle."),
    "arctan": ("Inverse tangent", "Angle whose tangent is `x`." + _RADIANS + _NODATA, "The angle."),
    "arctan2": (
        "Angle of a point",
        "Angle between the positive x axis and the point (`x`, `y`), in (-pi, pi]; nodata if either is nodata.",
        "The angle in radians.",
    ),
    "arsinh": ("Inverse hyperbolic sine", "Number whose hyperbolic sine is `x`." + _NODATA, "The number."),
    "arcosh": (
        "Inverse hyperbolic cosine",
        "Number whose hyperbolic cosine is `x`; NaN below 1." + _NODATA,
        "The number.",
    ),
    "artanh": ("Inverse hyperbolic tangent", "Number whose hyperbolic tangent is `x`." + _NODATA, "The number."),
    # constants
    "e": ("Euler's number", "The base of the natural logarithm, to double precision.", "The number e."),
    "pi": ("Pi", "Circumference of a circle over its diameter, to double precision.", "The number pi."),
    "nan": ("Not a number", "The value that IEEE 754 gives to undefined results.", "NaN."),
    "constant": (
        "A fixed value",
        "Hands `x` on unchanged; gives a value a node of its own in a graph.",
        "The value `x`.",
    ),
    # statistics
    "sum": (
        "Sum of an array",
        "Adds up all elements. An array without a usable value gives nodata.",
        "The sum.",
    ),
    "product": (
        "Product of an array",
        "Multiplies all elements. An array without a usable value gives nodata.",
        "The product.",
    ),
    "mean": (
        "Arithmetic mean",
        "Sum of the elements over their number; nodata for an array without a usable value.",
        "The mean.",
    ),
    "median": (
        "Middle value",
        "The value in the middle of the sorted elements; the mean of the two middle ones where their number is even. "
        "Nodata for an array without a usable value.",
        "The median.",
    ),
    "min": ("Smallest number", "The least element; nodata for an array without a usable value.", "The minimum."),
    "max": ("Largest number", "The greatest element; nodata for an array without a usable value.", "The maximum."),
    "extrema": (
        "Smallest and largest number",
        "Minimum and maximum, found in one pass.",
        "Two numbers: minimum, maximum.",
    ),
    "sd": (
        "Standard deviation",
        "Square root of the sample variance (denominator n - 1); nodata with fewer than two usable values.",
        "The standard deviation.",
    ),
    "variance": (
        "Variance",
        "Sample variance: squared deviations from the mean over n - 1; nodata with fewer than two usable values.",
        "The variance.",
    ),
    "quantiles": (
        "Quantiles",
        "Cut points of the distribution of the values, by linear interpolation between order statistics (type 7 of Hyndman "
        "and Fan 1996). Give `probabilities`: the probabilities themselves, or the number of equal intervals.",
        "One value per probability, or one less than the number of intervals; nodata where there is no usable value.",
    ),
    "count": (
        "Number of elements",
        "Counts the valid elements; with `condition` = true all elements; with a callback those it is true for.",
        "The number of elements.",
    ),
    "cumsum": (
        "Running sum",
        "Sum of the elements up to and including each one.",
        "As many values as there are elements.",
    ),
    "cumproduct": (
        "Running product",
        "Product of the elements up to and including each one.",
        "As many values as there are elements.",
    ),
    "cummax": (
        "Running maximum",
        "Greatest element up to and including each one.",
        "As many values as there are elements.",
    ),
    "cummin": (
        "Running minimum",
        "Least element up to and including each one.",
        "As many values as there are elements.",
    ),
    # comparison
    "eq": (
        "Equal",
        "True where `x` and `y` are of the same type and equal. Numbers may differ by up to `delta`; texts may differ in case "
        "if asked. Nodata if either is nodata.",
        "True or false; nodata where undefined.",
    ),
    "neq": ("Not equal", "The opposite of `eq`; nodata if either is nodata.", "True or false; nodata where undefined."),
    "gt": (
        "Greater than",
        "True where the number `x` is above `y`; false for other types.",
        "True or false; nodata where undefined.",
    ),
    "gte": (
        "Greater than or equal",
        "True where the number `x` is not below `y`.",
        "True or false; nodata where undefined.",
    ),
    "lt": (
        "Less than",
        "True where the number `x` is below `y`; false for other types.",
        "True or false; nodata where undefined.",
    ),
    "lte": (
        "Less than or equal",
        "True where the number `x` is not above `y`.",
        "True or false; nodata where undefined.",
    ),
    "between": (
        "Within a range",
        "True where `x` is neither below `min` nor above `max`; always false for a range whose ends are swapped.",
        "True or false; nodata where undefined.",
    ),
    "is_nan": (
        "Not a number?",
        "True for NaN (IEEE 754), false for everything else.",
        "True or false.",
    ),
    "is_infinite": ("Infinite?", "True for plus and minus infinity, false for everything else.", "True or false."),
    "is_nodata": ("Nodata?", "True for nodata (`null`, or the fill value of a cube).", "True or false."),
    "is_valid": (
        "Usable value?",
        "False for nodata, NaN and infinite numbers, true for everything else.",
        "True or false.",
    ),
    # logic
    "and": (
        "Both true",
        "Three-valued logic: false as soon as one operand is false, otherwise nodata if one is nodata.",
        "True or false; nodata where undecided.",
    ),
    "or": (
        "At least one true",
        "Three-valued logic: true as soon as one operand is true, otherwise nodata if one is nodata.",
        "True or false; nodata where undecided.",
    ),
    "xor": (
        "Exactly one true",
        "True where one operand is true and the other false; nodata if either is nodata.",
        "True or false; nodata where undecided.",
    ),
    "not": ("Negation", "Turns true into false and false into true." + _NODATA, "True or false; nodata for nodata."),
    "all": (
        "All true",
        "True where no element is false, so for an empty array too. With `ignore_nodata` off, nodata beside nothing but true leaves it open.",
        "True or false; nodata where undecided.",
    ),
    "any": (
        "Some true",
        "True where at least one element is true, false for an empty array. With `ignore_nodata` off, nodata beside nothing but false leaves it open.",
        "True or false; nodata where undecided.",
    ),
    "if": (
        "Choose between two values",
        "Gives `accept` where `value` is true, otherwise (false or nodata) `reject`. On pixels the choice is made one by one; "
        "for a single value the branch not taken is never evaluated.",
        "`accept` or `reject`.",
    ),
    # arrays
    "array_append": (
        "Add one element",
        "Puts a value behind the last element; a labelled array also gets a label.",
        "The longer array.",
    ),
    "array_apply": (
        "Run a process on each element",
        "Calls `process` for every element with its value, index and label.",
        "An array of the results, same length.",
    ),
    "array_concat": (
        "Join two arrays",
        "Puts the second array behind the first. Labels survive only if both arrays have them, and must then be distinct.",
        "The joined array.",
    ),
    "array_contains": (
        "Is a value in an array?",
        "True if some element equals `value`, of the same type.",
        "True or false.",
    ),
    "array_create": ("Make an array", "An array of the given values, repeated as often as asked.", "The array."),
    "array_create_labeled": (
        "Make a labelled array",
        "Pairs each value with the label in the same place.",
        "The labelled array.",
    ),
    "array_element": (
        "Pick one element",
        "Gives the element at a zero-based index or with a label; name exactly one of the two.",
        "The element.",
    ),
    "array_filter": (
        "Keep some elements",
        "Keeps the elements for which `condition` is true.",
        "The remaining elements with their labels.",
    ),
    "array_find": (
        "Index of a value",
        "Zero-based index of the first (or last) element that equals `value`; nodata where there is none.",
        "The index.",
    ),
    "array_find_label": (
        "Index of a label",
        "Zero-based index of the element with the given label; nodata where there is none.",
        "The index.",
    ),
    "array_interpolate_linear": (
        "Fill gaps by lines",
        "Replaces nodata and NaN between two numbers by linear interpolation over the labels (or indices); gaps at either end stay.",
        "An array of the same length.",
    ),
    "array_labels": (
        "Labels of an array",
        "The labels, or the zero-based indices where the array has none.",
        "The labels in order.",
    ),
    "array_modify": (
        "Insert, replace or remove elements",
        "Removes `length` elements from `index` on and puts `values` in their place.",
        "The changed array.",
    ),
    "first": (
        "First element",
        "The first element, by default the first one that is valid.",
        "The element; nodata if there is none.",
    ),
    "last": (
        "Last element",
        "The last element, by default the last one that is valid.",
        "The element; nodata if there is none.",
    ),
    "order": (
        "Sorting positions",
        "Zero-based positions that would sort the array; ties keep their order.",
        "The positions.",
    ),
    "rearrange": (
        "Reorder by positions",
        "Takes the elements in the order of the given positions.",
        "The reordered array.",
    ),
    "sort": ("Sort", "Sorts numbers or dates, ascending by default; ties keep their order.", "The sorted array."),
    # texts and dates
    "text_begins": (
        "Does a text start so?",
        "True if the text starts with `pattern`." + _NODATA,
        "True or false; nodata for nodata.",
    ),
    "text_ends": (
        "Does a text end so?",
        "True if the text ends with `pattern`." + _NODATA,
        "True or false; nodata for nodata.",
    ),
    "text_contains": (
        "Is a text in another?",
        "True if `pattern` comes anywhere in the text." + _NODATA,
        "True or false; nodata for nodata.",
    ),
    "text_find": (
        "Where is a text in another?",
        "Zero-based position of the first match of `pattern`; nodata without a match.",
        "The position.",
    ),
    "text_concat": (
        "Join texts",
        "Joins the elements, written as text, with a separator between them.",
        "The joined text.",
    ),
    "date_between": (
        "Is an instant within a range?",
        "True if the instant `x` is neither before `min` nor after `max`, time zones respected.",
        "True or false.",
    ),
    "date_difference": (
        "Time between two instants",
        "How far `date2` lies after `date1`, in the given unit, fractions included; negative if before.",
        "The difference.",
    ),
    "date_shift": (
        "Move a date",
        "Adds units of time to a date. A day that does not exist in the resulting month becomes the month's last day.",
        "The moved date, written like the one given.",
    ),
    "inspect": (
        "Write data to the log",
        "Adds a log entry that describes the data, then hands the data on unchanged.",
        "The data, unchanged.",
    ),
    "run_udf": (
        "Run user code",
        "Hands data to a user-defined function in the runtime named and returns what it makes of it.",
        "What the function returned.",
    ),
    "run_udf_externally": (
        "Run user code elsewhere",
        "Hands data to a user-defined function behind a URL.",
        "What the service returned.",
    ),
    "run_ogcapi": (
        "Run an OGC API process here",
        "Hands data to a process that this service offers through OGC API Processes.",
        "What the process returned.",
    ),
    "run_ogcapi_externally": (
        "Run an OGC API process elsewhere",
        "Hands data to a process of another OGC API service.",
        "What the service returned.",
    ),
    "fit_curve": (
        "Fit a model function to a series",
        "Least-squares estimate of the parameters of `function` for the labels and values of an array, started from the guess given. "
        "Temporal labels count as seconds since 1970-01-01.",
        "The fitted parameters in the order of the first guess.",
    ),
}
