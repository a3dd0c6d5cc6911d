"""What an administrator can have done: a module of commands for each noun."""
