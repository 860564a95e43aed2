import lxml.etree as e, lxml.isoschematron

print(e.tostring(e.XML("<a><b/></a>").xpath("//b")[0]))
