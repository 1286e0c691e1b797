"""Every object of every target against every account: what a hand, a restore or an old fault has left."""
