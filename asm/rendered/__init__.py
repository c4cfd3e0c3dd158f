"""The embedded data set: rendered faces with known expressions, identities and blends.

The classes are here, and nothing else, so that reading the data set depends on no code that draws it.
"""

CLASSES: tuple[str, ...] = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
