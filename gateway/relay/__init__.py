"""Operations that are passed on and not understood: sound, files, uploads, batches, changes of pictures."""
