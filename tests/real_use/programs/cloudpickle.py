import pickle

import cloudpickle

function, same = pickle.loads(cloudpickle.dumps([lambda x: x + 1, cloudpickle.CloudPickler]))
print(function(2), same is cloudpickle.CloudPickler)
