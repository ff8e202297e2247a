"""Steps with their evidence: ports that write down what they answered, and ports that answer from what was written."""
