def main() -> None:
    print("Hello")
