"""The records that flow through the house. Frozen, without behaviour beyond what follows from their own fields."""
