import networkx as n

g = n.karate_club_graph()
print(n.shortest_path(g, 0, 33), n.graph_atlas(5).size())
