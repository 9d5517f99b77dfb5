"""The spine: it takes an exchange through the three verbs, in the order of one list (`build`)."""
