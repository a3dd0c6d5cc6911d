"""What an administrator can ask for, and what is answered: a module of values for each noun.

Both ends of the socket know these. They are light, because the command line loads them to ask; what
does the work (``processes/administration``) is loaded where it is done.
"""
