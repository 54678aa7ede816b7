"""Do pictures pay? Arms, their matrix of runs, statistics over held-out groups, a decision by rule, one page."""
