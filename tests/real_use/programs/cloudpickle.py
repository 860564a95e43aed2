import pickle

import cloudpickle

cloudpickle.register_pickle_by_value(cloudpickle)
data = cloudpickle.dumps([lambda x: x + 1, cloudpickle.CloudPickler])
function, by_value = pickle.loads(data)
print(function(2), by_value.__name__)
