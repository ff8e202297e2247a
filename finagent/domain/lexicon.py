"""Our own short lexicon of financial words and the tone it reads in a text.

The categories (positive, negative, negator, intensifier) follow the idea of Loughran and McDonald, "When is a
liability not a liability?", Journal of Finance 2011: words as they are meant in finance, where "liability",
"tax" or "cost" alone say nothing. The words are our own choice.
"""

import re
from typing import NamedTuple

LONGEST_TEXT = 1_000
"""Characters of a text that are read; the rest cannot cost time."""

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_REACH = 3
"""A negator turns the tone of the next three words ("did not quite beat")."""

_POSITIVE_WORDS = """
accelerate accelerated accelerates accelerating achieve achieved achieves advance advanced advances approval
approve approved approves attractive award awarded awards beat beating beats benefit benefits best better
bolster bolstered boom booming boost boosted boosts breakout breakthrough bright bullish buyback climb
climbed climbing climbs confident constructive delight durable efficient encouraging endorse endorsed
enhance enhanced exceed exceeded exceeding exceeds excellent exceptional exclusive expand expanded expanding
expands expansion favorable gain gained gaining gains good great grew grow growing grows growth highest
impressive improve improved improvement improves improving innovative jump jumped jumps landmark lead
leading leads lucrative milestone momentum optimism optimistic outpace outpaced outperform outperformed
outperforming outperforms overweight partnership pleased popular positive profit profitability profitable
profits progress promising prosper raise raised raises raising rallied rallies rally rallying rebound
rebounded rebounds record recover recovered recovers recovery resilient reward rise rises rising robust rose
soar soared soaring soars solid spike spiked stabilize stabilized strength strengthen strengthened
strengthens strong stronger strongest succeed succeeded success successful superb superior surge surged
surges surging surpass surpassed surpasses thrive thriving top topped tops tremendous unlock upbeat upgrade
upgraded upgrades upside upswing upturn valuable win winner winning wins won
"""

_NEGATIVE_WORDS = """
abandon abandoned abandons adverse allegation allegations alleged bad bankrupt bankruptcy bearish breach
breached bribery caution cautious challenging chargeback collapse collapsed collapses complaint complaints
concern concerned concerns contraction crash crashed crashes crisis critical cut cuts cutting damage damaged
damages dangerous decline declined declines declining default defaulted defaults defect defective defects
deficit delay delayed delays delinquent delist delisted delisting deteriorate deteriorated deteriorating
difficult difficulties dilution dilutive disappoint disappointed disappointing disappointment disappoints
discontinue discontinued dismal dispute disputes disruption disruptions downgrade downgraded downgrades
downside downturn downward drop dropped dropping drops dump dumped erode eroded erosion fail failed failing
fails failure fall fallen falling falls fear fears fell fine fined fraud fraudulent grim halt halted halts
hurt hurts impairment impairments inability investigation investigations lag lagged lagging lags lawsuit
lawsuits layoff layoffs litigation lose loses losing loss losses lost low lower lowered lowering lowers
misconduct miss missed misses missing misstatement negative negatively obsolete overvalued penalties penalty
pessimistic plummet plummeted plummets plunge plunged plunges plunging poor pressure pressured probe probes
problem problems recall recalled recalls recession reject rejected rejection rejects resign resigned resigns
restate restated restatement risk risks risky scandal selloff setback setbacks shortage shortages shortfall
shrank shrink shrinking shrinks shut shutdown sink sinking sinks slash slashed slashes slid slide slides
slow slowdown slowed slowing slows sluggish slump slumped slumps sued sues suffer suffered suffers suspend
suspended suspends suspension terminate terminated termination tough trouble troubled tumble tumbled tumbles
unable uncertain uncertainty underperform underperformed underperforms underweight unfavorable unprofitable
violate violated violation violations volatile vulnerable warn warned warning warns weak weaken weakened
weakening weakens weaker weakness worries worry worse worsen worsened worsening worst writedown writeoff
"""

_NEGATORS_WORDS = """
avoid avoided avoids can't cannot couldn't didn't doesn't don't hardly isn't lack lacked lacks neither never
no none nor not scarcely wasn't weren't without won't wouldn't
"""

_INTENSIFIERS_WORDS = """
deeply dramatically extremely far highly huge hugely major massive massively much sharply significantly
steep steeply strongly substantially very
"""

POSITIVE = frozenset(_POSITIVE_WORDS.split())
NEGATIVE = frozenset(_NEGATIVE_WORDS.split())
NEGATORS = frozenset(_NEGATORS_WORDS.split())
INTENSIFIERS = frozenset(_INTENSIFIERS_WORDS.split())


class Tone(NamedTuple):
    """Weight of positive and negative words in a text: 2 for a word, 3 for one behind an intensifier."""

    positive: int
    negative: int


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """The first characters of a text on one line: control and other unprintable ones become blanks."""
    head = text[:longest]
    if not head.isprintable():
        head = "".join(character if character.isprintable() else " " for character in head)
    return " ".join(head.split())


def tone(text: str) -> Tone:
    """Weigh the words of the first thousand characters; a negator turns the three words after it."""
    positive = negative = 0
    negated = 0
    weight = 2
    for word in _WORD.findall(clean(text).lower().replace("\u2019", "'")):
        if word in NEGATORS:
            negated, weight = _REACH + 1, 2
        elif word in INTENSIFIERS:
            weight = 3
        else:
            if word in POSITIVE or word in NEGATIVE:
                if (word in POSITIVE) is (negated == 0):
                    positive += weight
                else:
                    negative += weight
            weight = 2
        negated = max(0, negated - 1)
    return Tone(positive, negative)
