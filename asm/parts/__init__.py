"""What methods are made of: batches, views, backbones and their weights, the device."""
