"""How a text is to be read: normalised, decoded, without what nobody sees, sentence by sentence."""
