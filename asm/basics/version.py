"""The version of this software; no stage imports it, so that a new one retrains nothing."""

VERSION = "0.3.0"
