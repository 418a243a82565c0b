"""The people of a project: how far they agree, with each other and with themselves, and who decides disputes."""
