"""The command line: one file for each command, thin over the procedures and the diagnosis."""
