from app import main


def test_it_greets(capsys):
    main()
    assert capsys.readouterr().out == "Hello\n"
