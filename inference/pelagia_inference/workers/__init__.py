"""The processes that decode and classify, and what is sent to and from them."""
