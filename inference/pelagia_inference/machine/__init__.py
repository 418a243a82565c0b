"""What this machine can do: providers, sessions, settings, measurements and checks."""
