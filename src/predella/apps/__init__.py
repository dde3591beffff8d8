"""What a user does with a checkpoint: each a function, and a verb of the command line."""
