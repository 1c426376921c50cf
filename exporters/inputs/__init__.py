"""The forms a trained network lies in; none of them is ever executed."""
