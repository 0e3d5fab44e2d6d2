"""Teams: members under one name, by which they are asked and given access together."""
