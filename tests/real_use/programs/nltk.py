import nltk

print(nltk.__version__ != "unknown", nltk.PorterStemmer().stem("running"))
