"""How right a network is on pictures whose classes are known."""

from vimnp.evaluate.accuracy import Accuracy as Accuracy
from vimnp.evaluate.accuracy import Evaluation as Evaluation
from vimnp.evaluate.accuracy import evaluate as evaluate
from vimnp.evaluate.accuracy import rank_of as rank_of
