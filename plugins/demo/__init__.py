"""The demonstration: a catalogue of Hyderabad, and a day of its market. No plugin: it speaks to the public API alone."""
