"""Does vision pay? Arms, their matrix of runs, statistics over held-out groups, a sentence by rule, and one page."""
