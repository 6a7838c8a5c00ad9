"""What is there and what is to be done: input files by name, units and what they need."""
