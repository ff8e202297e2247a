"""The page: Streamlit, a guest that speaks HTTP with the local token and knows nothing else of finagent."""
