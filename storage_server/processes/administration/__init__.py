"""What an administrator can have done: for each noun a module that does its ``requests``."""
