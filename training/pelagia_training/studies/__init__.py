"""Studies that train or compare several runs: cross-validation, leak, suspects, sweep, and a contact sheet."""
