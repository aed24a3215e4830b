"""The command `polarc`: one file per command, no logic."""
