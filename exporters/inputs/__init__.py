"""From whatever a trained network lies in to a `Network`: one file an input format, none of them ever executed."""
