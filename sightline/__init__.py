"""The vocabulary that every room of Sightline shares: contracts, codec, settings, errors."""

__version__ = "0.1.0"
