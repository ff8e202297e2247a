"""The bar store: Parquet files under the home that market data is imported into and read from."""
