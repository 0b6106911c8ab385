"""From numbers of kept units to a pruned network, its cost and the steps of the MDP."""
