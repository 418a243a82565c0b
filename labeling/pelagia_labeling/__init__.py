"""Images <-> Label Studio -> DATASET: a local server, push, pull, and a doctor for what goes wrong.

No module of this package prints, and none reads a secret from a configuration file or the command line.
"""
