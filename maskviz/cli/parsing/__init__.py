"""How command lines are read: groups of options, their help, their mistakes, what shells complete."""
