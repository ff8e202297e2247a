"""finagent, the one-day trading agent; a line finds its room by its part of speech.

nouns and rules: ``domain/`` · verbs of the day: ``services/`` · needs: ``ports.py`` · proper nouns: ``adapters/``
· machinery that has never heard of trading: ``queue/``, ``runtime/`` · places where people look: ``cli/``,
``api/``, ``dashboard/``, ``research.py`` · the one file that names every adapter: ``bootstrap.py``.
"""

__version__ = "0.1.0"
