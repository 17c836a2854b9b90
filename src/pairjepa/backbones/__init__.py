"""Pretrained networks: loading, preprocessing, pooling, masking of words, device."""
