"""What the commands of `pelagia.cli` do, a module for each part; a part is imported when its command is called."""
