"""Tests of the whole school, through its addresses wherever that is possible."""
