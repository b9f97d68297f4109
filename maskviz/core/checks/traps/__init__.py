"""The words of every trap of the house, by what shows them."""
