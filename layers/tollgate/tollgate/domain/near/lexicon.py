"""The closed word classes used in near matching. English only, written by hand.

Everything here is a word list; what a list means is decided by the module that uses it. Content words are
given as stems (see `near.stem.stem`), function words as they are written.
"""

from tollgate.domain.near.stem import stem


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


FUNCTION_WORDS = _words(
    """
    a about across again all almost along already also although always am among an and another any anybody
    anyone anything are around as at away be became because become been being beside besides but by came can
    come comes could did do does doing done each either else enough etc even ever every everybody everyone
    everything for from further get gets getting go goes going gone got had has have having he hence her here
    hers herself him himself his how however i if in indeed into is it its itself just kind lot lots many may
    me might more most much must my myself near of often oh ok on once one ones onto or other others our ours
    ourselves own per perhaps please quite rather really s same shall she should since so some somebody
    somehow someone something sometimes somewhere soon sort still such than that the their theirs them
    themselves then there these they thing things this those though through thus till to together too toward
    towards truly until upon us use very via was way ways we well were what whatever when whenever where
    wherever whether which while who whoever whole whom whose why will with within would yet you your yours
    yourself yourselves ur im ive actually basically exactly simply
    """
)
"""Words that carry grammar rather than meaning; they never count as content."""

LIGHT_WORDS = _words(
    """
    advice answer ask available best bit consider cool correct different easi easily easy effect effectiv
    explain find feel fast fastest give good great happen hear help idea interest know let like look make mean
    method need nice opinion person peopl possible proper question quick quickest quickly recommend regard say
    see simple start suggest suggestion take talk tell think thought time tip trick try understand usual want
    word work certain
    """
)
"""Stems that are often added or dropped without changing what is asked; they count little."""

ADDRESSING = _words("you your yours yourself")
"""Words that address the reader."""

NEGATIONS = _words(
    """
    not no never none nobody nothing nowhere neither nor without cannot hardly barely unable except lack
    """
)
"""Words that reverse a statement. The ending `n't` is read as `not`."""

CALENDAR_NAMES = _words(
    """
    january february march april june july august september october november december jan feb mar apr jun jul aug sep
    sept oct nov dec monday tuesday wednesday thursday friday saturday sunday
    """
)
"""Names in any spelling; "may" is left out because it is a verb more often."""

_COUNTING = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty
    """
NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(_COUNTING.split())
    if word != "one"  # more often a pronoun ("how does one") than a number
} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
    "lakh": "100000",
    "lakhs": "100000",
    "million": "1000000",
    "crore": "10000000",
    "crores": "10000000",
    "billion": "1000000000",
    "first": "1st",
    "1st": "1st",
    "second": "2nd",
    "2nd": "2nd",
    "third": "3rd",
    "3rd": "3rd",
    "twenties": "20s",
    "thirties": "30s",
    "forties": "40s",
    "fifties": "50s",
    "sixties": "60s",
    "seventies": "70s",
    "eighties": "80s",
    "nineties": "90s",
}

UNITS = {
    alias: names.split()[0]
    for names in (
        "kg kgs kilo kilos kilogram kilograms",
        "g gram grams",
        "mg milligram milligrams",
        "lb lbs pound pounds",
        "oz ounce ounces",
        "km kms kilometre kilometres kilometer kilometers",
        "m metre metres meter meters",
        "cm centimetre centimetres centimeter centimeters",
        "mm millimetre millimetres millimeter millimeters",
        "mile miles mi",
        "foot feet ft",
        "inch inches",
        "l litre litres liter liters",
        "ml millilitre millilitres milliliter milliliters",
        "gallon gallons",
        "ms millisecond milliseconds",
        "sec secs seconds",
        "min mins minute minutes",
        "hour hours hr hrs",
        "day days",
        "week weeks",
        "month months",
        "year years yr yrs",
        "usd dollar dollars $",
        "eur euro euros €",
        "gbp £",
        "inr rs rupee rupees ₹",
        "percent % pct percentage",
        "celsius °c",
        "fahrenheit °f",
        "kb kilobyte kilobytes",
        "mb megabyte megabytes",
        "gb gigabyte gigabytes",
        "tb terabyte terabytes",
        "v volt volts",
        "w watt watts",
        "k",
    )
    for alias in names.split()
}
"""Spelling of a unit -> the name it is compared by. Units are never converted: 1 km and 1000 m are a miss."""

ALIASES = {
    "colour": "color",
    "doc": "document",
    "docs": "document",
    "mobile": "phone",
    "movies": "movie",
    "film": "movie",
    "films": "movie",
    "pic": "picture",
    "pics": "picture",
    "photo": "picture",
    "photos": "picture",
    "using": "use",
    "used": "use",
}
"""Words with several spellings -> the one they are compared by."""

DIRECTIONS = _words("to into from than over onto toward towards by")
"""Words that give what stands before and after them different roles."""

JOINERS = _words("and or vs versus between with compare compared")
"""Words that list or compare things, so that their order does not matter."""

POINTERS = _words("following attached attachment screenshot")
"""Words that point at something outside the text."""

PLACES = _words("below above")
"""Words that do so unless a number follows, as in "phones below 200 dollars"."""

NEGATING_PREFIXES = ("un", "non", "in", "im", "il", "ir", "dis", "anti", "mis")
"""Prefixes that turn a word into its opposite."""

_OPPOSITES = """
increase|raise|gain|grow/decrease|reduce|lower|lose|shrink more/less|fewer most/least
best|good|great/worst|bad better/worse advantage|pro|benefit|merit/disadvantage|con|drawback|demerit
buy|purchase/sell open/close|shut start|begin/stop|end|finish|quit add|insert/remove|delete|subtract
plus/minus multiply/divide
enable|activate/disable|deactivate allow/block|forbid|prevent|ban accept|approve/reject|decline|refuse
install/uninstall connect/disconnect lock/unlock follow/unfollow block/unblock subscribe/unsubscribe
upload/download import/export encrypt/decrypt encode/decode compress/decompress win/lose pass/fail
love|like/hate|dislike send/receive lend/borrow push/pull on/off before/after above/below|under over/under
up/down upgrade/downgrade left/right north/south east/west northern/southern eastern/western male/female
man|men/woman|women boy|guy|boyfriend/girl|girlfriend husband/wife father|dad/mother|mom|mum brother/sister
son/daughter king/queen he|him|his/she|her rich|wealthy/poor hot/cold heat/cool
high|higher|highest/low|lower|lowest long|longer|longest/short|shorter|shortest
tall|taller|tallest/short|shorter|shortest big|large|biggest|largest/small|little|smallest
old|older|oldest/new|young|newest|youngest fast|faster|fastest|quick/slow|slower|slowest
early|earliest/late|latest first/last easy|simple/hard|difficult strong|stronger/weak|weaker heavy/light
thick/thin deep/shallow wide|broad/narrow maximum|max|maximize/minimum|min|minimize positive/negative
true/false legal/illegal safe/dangerous|unsafe alive|living/dead life|live/death|die black/white day/night
morning/evening summer/winter introvert/extrovert theist/atheist public/private internal/external input/output
inside/outside indoor/outdoor online/offline happy/sad|unhappy beautiful/ugly smart|intelligent/stupid|dumb
healthy/unhealthy include/exclude deposit/withdraw credit/debit profit/loss supply/demand
cheap|cheapest/expensive full/empty wet/dry clean/dirty attack/defend arrive/depart|leave enter/exit|leave
marry/divorce hire/fire agree/disagree appear/disappear expand/shrink|contract right/wrong major/minor
majority/minority senior/junior domestic/foreign|international liberal/conservative democrat/republican
teacher/student employer/employee parent/child|children|kid single/married frontend/backend
ascending/descending vertical/horizontal acid/base buyer/seller freeze/melt|thaw visible/invisible
friend/enemy past/future ancient/modern possible/impossible with/without undergraduate/graduate
asymmetric/symmetric sync/async client/server primary/secondary encourage/discourage overrated/underrated
sunrise/sunset veg/non subscriber/creator lead/follow hide/show|unhide remember/forget sleep/wake
inhale/exhale laugh/cry for/against similar|similarity|same/differ|different|difference
give|given|gave/take|took|taken|receive
"""


def _opposites() -> dict[str, frozenset[str]]:
    """Each stem of `_OPPOSITES` with the stems that mean its opposite."""
    found: dict[str, set[str]] = {}
    for group in _OPPOSITES.split():
        one, other = (side.split("|") for side in group.split("/"))
        for near, far in ((one, other), (other, one)):
            for word in near:
                found.setdefault(stem(word), set()).update(stem(opposite) for opposite in far)
    return {word: frozenset(opposites) for word, opposites in found.items()}


OPPOSITES = _opposites()
"""A stem -> the stems that reverse it: antonyms, directions, and pairs of roles such as buyer and seller."""
