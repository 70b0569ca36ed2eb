"""The judgement. Pure functions from evidence to a verdict; knows no console, no symbols and no file."""
