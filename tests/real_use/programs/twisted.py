from twisted.plugin import getPlugins
from twisted.application.service import IServiceMaker

print(len(list(getPlugins(IServiceMaker))) > 5)
