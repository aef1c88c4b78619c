"""What several stages ask of a text: personal data, characters nobody sees, orders to a model. Pure."""
