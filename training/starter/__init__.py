"""Makes the embedded starter language model: corpora, tokenizer, curriculum, pretraining, measures."""
